"""The paper's theory in numbers: ``make theory`` writes docs/theory.md."""
