"""The searches and the pruners that a study can use."""

SEARCHES = ("grid", "random", "tpe")
PRUNERS = ("median", "halving", "hyperband")
