"""How fast is it, in units of what, and beside whom?

`short`: ours alone, in a minute, with bounds that are asserted. `peers`: everything, alternating
with others' programs. `growth`: time and memory over sizes. Rows are made by `energies`, `sweeps`,
`points`, `networks`, `spectra`, `programs`; `clock` measures, `tables` writes.
"""
