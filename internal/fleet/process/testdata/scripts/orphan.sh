# Ends at once and leaves a child behind that holds the FIFO and the output.
exec 9>"$FIFO"
sleep 100000 &
echo ready >&9
echo "these are the last words"
exit 3
