"""One use-case a file. The terminal and the web page call these functions and nothing below them."""
