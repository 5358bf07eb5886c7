i=0
while [ $i -lt 60 ]; do
	echo "line $i padded to be a little longer than it would need to be"
	i=$((i+1))
done
printf '\033[31mred\033[0m\n'
head -c 20000 /dev/zero | tr '\0' x
printf '\nno newline at the end'
