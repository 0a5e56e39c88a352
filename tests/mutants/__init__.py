"""Random small bugs in the product, one at a time: which of them does no test notice?"""
