"""What helps against posterior collapse, where, and how surely?

`descent`: how runs go down; `schedules`, `starts`, `surfaces`: the cures, a few lines each;
`cures`: the list of them; `board`: traps x cures x paired starts; `words`: what the board says;
`like`: which cure worked on traps like a case; `told`: the lines to change, in the words of a
framework (`lines/`).
"""

from vaesurface.cure.board import EXACT, NETWORK, Cell, scoreboard
from vaesurface.cure.cures import CURES, Cure, cured
from vaesurface.cure.descent import Way

__all__ = ["CURES", "EXACT", "NETWORK", "Cell", "Cure", "Way", "cured", "scoreboard"]
