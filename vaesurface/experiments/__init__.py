"""Questions asked of data, each answered by a file built from the library's public names.

Random starts: `starts` runs a sweep of them, `ends` says what it found, `pictures` draws it,
`overview` is its page. The surface between points: `rim`, `branches`, `width` and `graph`, which
share `study` and `ways`. The paper: `fig1`, `fig2` and `warm_start`, which share `trained`;
`prop41`, `prop51`.
"""
