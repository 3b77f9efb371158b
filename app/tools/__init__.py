"""The tools that every installation has, one module each, and the way in which others are found and run.

A tool module names its tools in `TOOLS`. `TOOL_MODULES` adds modules of an installation's own.
"""
