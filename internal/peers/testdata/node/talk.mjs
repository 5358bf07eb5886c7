// How a script and the test that started it talk: one JSON value per line, both ways.
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export async function hear() {
  const { value, done } = await lines.next()
  if (done) throw new Error('the test is gone')
  return JSON.parse(value)
}

export function say(message) {
  process.stdout.write(JSON.stringify(message) + '\n')
}

// A person opens an address in his browser; where that ends is returned.
export async function visit(url) {
  say({ visit: String(url) })
  return new URL((await hear()).at)
}
