# Ignores the request to end, and so does its child.
trap '' TERM
exec 9>"$FIFO"
sleep 100000 &
echo ready >&9
while :; do wait; done
