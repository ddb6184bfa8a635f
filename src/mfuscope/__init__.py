"""mfuscope: how well does a vision-language OCR model use its accelerator?"""

__version__ = "0.1.0"
