# The package makes links there.
mkdir -p /usr/share/man/man1
