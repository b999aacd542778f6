# Prints the free space.
df -Pk . || exit 1
