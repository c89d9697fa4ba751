"""How a trained recursive model reasons and fails: one report.

`measures` and `curves` are arithmetic on arrays, `probes` and `memory` run the model, `sections`
puts a part of the report together, and `report`, `words`, `page` and `draw` show it. `definitions`
says what each number is and whose it is.
"""
