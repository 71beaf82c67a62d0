"""How the documentation is built; `scripts/docs` does it."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "builder"))

project = "vaesurface"
author = "the vaesurface authors"
copyright = author
version = release = version_of("vaesurface")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "rooms",
]
exclude_patterns = ["_build", "builder", "tutorials/*.ipynb"]  # what is kept of a page
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block"]
smartquotes = False  # gamma' is no quotation
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build/cache")
nb_execution_show_tb = True  # a notebook that fails is a warning, and so fails the build
nb_execution_timeout = 300  # seconds a cell
nb_merge_streams = True
# Types that several modules offer, as `paths` and `paths.graph` do, are linked to one of them.
suppress_warnings = ["ref.python"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = "vaesurface"
html_math_renderer = "mathml"
html_static_path = ["builder/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
}
