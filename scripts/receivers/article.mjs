// The article's receiver for Node, as it stands there, but without types and on another port:
//
//   node article.mjs [PORT [ADDRESS]]
//
// In the lab: sudo scripts/read-header node
// What it leaves out: README.md, "Who called".

import { createServer } from 'node:net'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const PP2_TYPE_AWS_VPCE_ID = 0xea // <- THE LINE THAT MATTERS: this TLV tells the endpoint

const parseProxyV2 = (buf) => {
  if (buf.length < 16 || !buf.subarray(0, 12).equals(SIGNATURE)) return null
  const family = buf[13] >> 4
  const addrLen = buf.readUInt16BE(14)
  let offset = 16
  if (family !== 1) return null
  const sourceIp = `${buf[offset]}.${buf[offset + 1]}.${buf[offset + 2]}.${buf[offset + 3]}`
  const sourcePort = buf.readUInt16BE(offset + 8)
  let tlvOffset = offset + 12
  let endpointId = null
  while (tlvOffset < offset + addrLen) {
    const type = buf[tlvOffset]
    const len = buf.readUInt16BE(tlvOffset + 1)
    const value = buf.subarray(tlvOffset + 3, tlvOffset + 3 + len)
    if (type === PP2_TYPE_AWS_VPCE_ID) endpointId = value.subarray(1).toString('ascii')
    tlvOffset += 3 + len
  }
  return { sourceIp, sourcePort, endpointId, headerLength: offset + addrLen }
}

const server = createServer((socket) => {
  socket.once('data', (chunk) => {
    const header = parseProxyV2(chunk)
    if (header) {
      console.log('real client', header.sourceIp, 'via', header.endpointId)
    }
  })
})

server.listen(Number(process.argv[2] ?? 9100), process.argv[3])
