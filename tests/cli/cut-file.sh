# A file that is cut while it is mapped (run, and what build and validate generate): the kernel says SIGBUS, the program which file.
. "$TOP/tests/cli/common"
model
recast convert model -o "cut-ä.gguf" -q >/dev/null
mkfifo talk
"$RECAST" run "cut-ä.gguf" --chat --raw -n 4 <talk >answers 2>errors &
pid=$!
exec 3>talk
echo "And the LORD" >&3
# the model is open and mapped once it has said something
for _ in $(seq 200); do [ -s answers ] && break; sleep 0.05; done
: >"cut-ä.gguf"
echo "And the LORD" >&3
exec 3>&-
wait $pid
echo "exit $?"
sed -n "s|recast: $PWD/|recast: |p" errors
[ -s answers ] && echo "and it had begun to answer"
ls -A | grep -v '^model$'
