# Looks at what is not its own, says what it saw, and leaves something behind.
echo "ids $(id -u) $(id -G)"
for path in $LOOK; do
  if cat "$path" >/dev/null 2>&1; then echo "read $path"; else echo "refused $path"; fi
done
echo "dumps $(ulimit -c)"
echo mine >"$HOME/mine" && echo "wrote its home"
(echo mine >"$0") 2>/dev/null && echo "wrote its program"
setsid sleep 100000 &
echo left
sleep 100000
