"""The commands of `logstore`, a module each, and what they share.

target.py      which store a command works on
failures.py    errors as a sentence that says what to do
params.py      option types that several commands take
values.py      times and places in a log, as text and as values
tables.py      tables for people and programs
"""
