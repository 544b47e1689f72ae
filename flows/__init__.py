"""The order of things: flows, their runner and parameters, and the command line at the outer rim.

Nothing imports it.
"""
