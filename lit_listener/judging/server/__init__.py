"""The judge over HTTP. Its packages are an extra: ``pip install 'lit-listener[serve]'``."""
