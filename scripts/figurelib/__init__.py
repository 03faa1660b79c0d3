"""The parts of scripts/figures.py.

table      the figures: the load of each, the value that is read, the bound it must meet
server     a pinned server process, and one run of the generator against it
bare       Stentor beside the bare loop: the figures of the README
cross      a message from one shard to another
wire       JSON clients over bare sockets
pair       two server binaries side by side: before and after a change
report     rows on standard output, and the results as JSON
"""
