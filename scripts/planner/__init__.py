"""Capacity planning: measure a server, fit what was measured, read the host's limits, answer.

In the order in which a question passes them:
units      what people type: 50ms, 1M, 30%
host       the limits of the host, read
steps      what a ladder of loads consists of
machine    processes: a server, a generator, what both and the kernel use meanwhile
store      steps on disk, one JSON each
measure    climbs the ladder
points     from stored steps to numbers that can be fitted
lsq, usl   least squares with bounds, bootstrap; the Universal Scalability Law
cost       memory and CPU of a load
latency    the queueing model
model      all fits together
limits     what each limit allows
answer     boxes, storms, what-if
holdout    fits on part, predicts the rest
text, page the answer for a terminal and a browser
"""
