# Leaves the group it was started in, and goes on for ever.
exec setsid sh -c 'exec 9>"$FIFO"; echo ready >&9; exec sleep 100000'
