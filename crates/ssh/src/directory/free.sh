# How much space there is.
df -Pk . || exit 1
