echo "nothing is built"
