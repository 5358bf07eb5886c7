# Starts more and more.
n=0
while [ $n -lt 50 ]; do
  sleep 100000 &
  n=$((n + 1))
done
echo "started $n"
wait
