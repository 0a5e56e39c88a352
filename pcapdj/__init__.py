"""pcapdj: rotated capture files, one authorization at a time, as one stream into an analyzer."""

__version__ = "0.1.0"
