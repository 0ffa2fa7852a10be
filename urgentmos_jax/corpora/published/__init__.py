"""One module a published corpus; each defines `CORPUS`."""
