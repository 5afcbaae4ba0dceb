# The CPU kernels: one source, compiled once for each instruction set.
