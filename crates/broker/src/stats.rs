//! Counters of one shard, for `$SYS`.

/// What a shard has counted, and how much it holds now. Plain numbers: one core writes them, and others
/// get copies by mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets received.
    pub messages_received: u64,
    /// Packets sent.
    pub messages_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// PUBLISH packets received.
    pub publish_received: u64,
    /// PUBLISH packets sent.
    pub publish_sent: u64,
    /// Payload bytes received.
    pub publish_bytes_received: u64,
    /// Payload bytes sent.
    pub publish_bytes_sent: u64,
    /// Messages that were not delivered to a subscriber.
    pub publish_dropped: u64,
    /// CONNECTs accepted.
    pub connections: u64,
    /// Sockets accepted.
    pub sockets: u64,
    /// Sessions that expired without a connection.
    pub clients_expired: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Sessions with a connection now.
    pub connected: u64,
    /// Open sockets now.
    pub sockets_open: u64,
    /// Messages that wait or are unacknowledged now.
    pub queued_messages: u64,
    /// Bytes of those.
    pub queued_bytes: u64,
    /// Connections whose outbox holds bytes now.
    pub outboxes: u64,
    /// Those bytes.
    pub outbox_bytes: u64,
}

impl Stats {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.messages_received += other.messages_received;
        self.messages_sent += other.messages_sent;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.publish_received += other.publish_received;
        self.publish_sent += other.publish_sent;
        self.publish_bytes_received += other.publish_bytes_received;
        self.publish_bytes_sent += other.publish_bytes_sent;
        self.publish_dropped += other.publish_dropped;
        self.connections += other.connections;
        self.sockets += other.sockets;
        self.clients_expired += other.clients_expired;
        self.sessions += other.sessions;
        self.connected += other.connected;
        self.sockets_open += other.sockets_open;
        self.queued_messages += other.queued_messages;
        self.queued_bytes += other.queued_bytes;
        self.outboxes += other.outboxes;
        self.outbox_bytes += other.outbox_bytes;
    }
}
