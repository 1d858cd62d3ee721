"""Programs of the user's that draw: described, loaded, asked for pictures, and stopped.

`protocol` is what is said over the pipes, `process` starts and ends a program, `piped` talks to
one, `template` runs a command line for each picture, `naming` reads how a user names them.
`docs/external.md` is the page for those who write one.
"""
