"""Train vision-language reasoners with GRPO and a listener to judge which of two images people prefer."""

__version__ = "0.1.0"
