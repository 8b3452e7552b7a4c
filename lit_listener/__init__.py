"""Train vision-language reasoners with GRPO and a listener to judge which of two images people prefer."""

import logging

__version__ = "0.1.0"

# bitsandbytes, which peft and transformers import, warns on some CPUs of a missing kernel that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda record: "gemm_4bit_forward" not in str(record.msg))
