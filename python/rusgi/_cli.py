"""The console script: hands the command line to the native half and ends with its exit code."""

import sys

from rusgi import _rusgi


def main():
    # the program's name is shown in messages; sys.argv itself stays as the user typed it
    sys.exit(_rusgi.main(["rusgi", *sys.argv[1:]]))
