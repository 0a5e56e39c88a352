"""The inside of the consumer launcher: the analyzer process, its stream, the descriptors that it keeps."""
