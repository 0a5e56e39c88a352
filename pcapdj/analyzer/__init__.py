"""The inside of the consumer launcher: the analyzer process, its stream, the stored descriptors."""
