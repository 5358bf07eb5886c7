env
echo "PWD is $(pwd)"
