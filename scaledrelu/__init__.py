"""scaledrelu: every table of "Scaled ReLU Matters for Training Vision Transformers", reproduced."""
