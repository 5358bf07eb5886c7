# Holds the FIFO open in itself and in a child, for ever.
exec 9>"$FIFO"
sleep 100000 &
echo ready >&9
wait
