"""Text dialogues -> spoken dialogues: translated into the languages that are missing, and said by any synthesiser (paper
section 3). All that is asked of translators and synthesisers is kept, so nothing is paid for twice."""
