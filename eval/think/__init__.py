"""Test-time compute without retraining: `python -m eval.think`.

options.py  what is asked, and what of it makes sense
methods.py  how chains differ: other starts, symmetric images, noise
stages.py   the answers of chains, or of the segments of one
select.py   which of several answers to take
score.py    what each selector is worth against forward recursions
report.py   the table, the JSON and the picture
"""
