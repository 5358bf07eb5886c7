i=0
while [ $i -lt 1000 ]; do echo "complaint number $i"; i=$((i+1)); done
exit 7
