"""What an administrator does, as functions on a station: enrol a pool, capture a baseline, approve, ask.

Between the command line, which knows words and tables, and the layers below, which know neither. Each
function takes a station, and returns data.
"""
