// PostgreSQL 17 with TimescaleDB, compiled to WebAssembly, on a port: one session at a time, the next one once it ends.
// `node server.mjs FOLDER_OF_PGLITE PORT`
import net from 'node:net'
import { pathToFileURL } from 'node:url'

const [folder, port] = process.argv.slice(2)
const { PGlite } = await import(pathToFileURL(`${folder}/dist/index.js`))
const { timescaledb } = await import(pathToFileURL(`${folder}/dist/timescaledb/index.js`))
const database = await PGlite.create({ extensions: { timescaledb } })

const SSL_REQUEST = 80877103, GSS_REQUEST = 80877104, TERMINATE = 'X'.charCodeAt(0)
let holder = null
const waiting = []

const take = (socket) => new Promise((resolve) => {
  if (holder === null) holder = socket
  if (holder === socket) resolve()
  else waiting.push({ socket, resolve })
})

async function letGo(socket) {
  const place = waiting.findIndex((each) => each.socket === socket)
  if (place >= 0) waiting.splice(place, 1)
  if (holder !== socket) return
  await database.exec('rollback')
  await database.exec('discard all')
  const next = waiting.shift()
  holder = next ? next.socket : null
  next?.resolve()
}

// Whole messages only: PGlite takes part of one for a broken one. The first ones of a session have no letter.
function split(state) {
  const messages = []
  for (;;) {
    const head = state.begun ? 1 : 0
    if (state.bytes.length < head + 4) return messages
    const length = head + state.bytes.readInt32BE(head)
    if (state.bytes.length < length) return messages
    const bytes = state.bytes.subarray(0, length)
    state.bytes = state.bytes.subarray(length)
    const asks = !state.begun && [SSL_REQUEST, GSS_REQUEST].includes(bytes.readInt32BE(4))
    messages.push({ bytes, asks, ends: state.begun && bytes[0] === TERMINATE })
    if (!asks) state.begun = true
  }
}

async function answer(socket, message) {
  if (message.asks) return socket.write('N')
  if (message.ends) return socket.end()
  await take(socket)
  const answered = await database.execProtocolRaw(new Uint8Array(message.bytes), { throwOnError: false })
  if (answered.length) socket.write(Buffer.from(answered))
}

net.createServer((socket) => {
  const state = { bytes: Buffer.alloc(0), begun: false }
  let turn = Promise.resolve()
  const then = (work) => { turn = turn.then(work).catch((error) => { console.error(error); socket.destroy() }) }
  socket.on('error', () => {})
  socket.on('close', () => then(() => letGo(socket)))
  socket.on('data', (bytes) => {
    state.bytes = Buffer.concat([state.bytes, bytes])
    for (const message of split(state)) then(() => answer(socket, message))
  })
}).listen(Number(port), '127.0.0.1', () => console.log('listening'))
