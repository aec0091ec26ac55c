//! Who is subscribed, and how: what the routing table keeps for each subscription.

/// A session's address: the shard that holds it, its slot there and the slot's generation.
///
/// A slot that is used again gets another generation, so that an address that outlived its
/// session is told apart from the next one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRef {
    /// The shard (core) that is the session's home.
    pub shard: u16,
    /// Counts the uses of the slot.
    pub generation: u16,
    /// The place in the shard's list of sessions.
    pub slot: u32,
}

impl SessionRef {
    /// The address that [`Self::bits`] gave.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
        Self {
            shard: u16::from_be_bytes([a, b]),
            generation: u16::from_be_bytes([c, d]),
            slot: u32::from_be_bytes([e, f, g, h]),
        }
    }

    /// The address as one number, for hashing and for records.
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.shard) << 48 | u64::from(self.generation) << 32 | u64::from(self.slot)
    }
}

/// One subscription as the router sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The subscriber.
    pub session: SessionRef,
    /// The options of its SUBSCRIBE.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier, 1 to 268,435,455; 0 for none.
    pub subscription_id: u32,
}

/// The subscription options that matter when a message is delivered, in one byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions(Packed);

impl SubscriptionOptions {
    /// Packs the options; `qos` is the maximum QoS granted and above 2 counts as 2.
    #[must_use]
    pub const fn new(qos: u8, no_local: bool, retain_as_published: bool) -> Self {
        let mut bits = if qos > 2 { 2 } else { qos };
        if no_local {
            bits |= NO_LOCAL;
        }
        if retain_as_published {
            bits |= AS_PUBLISHED;
        }
        Self(ALL[bits as usize])
    }

    /// The same, for a session that outlives its connections: what it has to get is kept.
    #[must_use]
    pub const fn persistent(self) -> Self {
        Self(ALL[(self.0 as u8 | PERSISTENT) as usize])
    }

    /// Whether the session outlives its connections.
    #[must_use]
    pub const fn is_persistent(self) -> bool {
        self.0 as u8 & PERSISTENT != 0
    }

    /// The options as one byte, for records.
    pub(crate) const fn bits(self) -> u8 {
        self.0 as u8
    }

    /// What [`Self::bits`] gave; any byte has a meaning.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(ALL[(bits & 0b1_1111) as usize])
    }

    /// The maximum QoS granted, 0 to 2.
    #[must_use]
    pub const fn qos(self) -> u8 {
        self.0 as u8 & QOS
    }

    /// Whether the session's own messages are kept from it [MQTT5-3.8.3-3].
    #[must_use]
    pub const fn no_local(self) -> bool {
        self.0 as u8 & NO_LOCAL != 0
    }

    /// Whether RETAIN is forwarded as it was published [MQTT5-3.3.1-13].
    #[must_use]
    pub const fn retain_as_published(self) -> bool {
        self.0 as u8 & AS_PUBLISHED != 0
    }
}

impl std::fmt::Debug for SubscriptionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionOptions")
            .field("persistent", &self.is_persistent())
            .field("qos", &self.qos())
            .field("no_local", &self.no_local())
            .field("retain_as_published", &self.retain_as_published())
            .finish()
    }
}

/// Every combination by name, so that the compiler knows which byte values are left: it keeps
/// "no target", "many targets" and "free place" in them, which would else cost a word each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Packed {
    Qos0 = 0,
    Qos1 = 1,
    Qos2 = 2,
    Qos0NoLocal = NO_LOCAL,
    Qos1NoLocal = NO_LOCAL | 1,
    Qos2NoLocal = NO_LOCAL | 2,
    Qos0AsPublished = AS_PUBLISHED,
    Qos1AsPublished = AS_PUBLISHED | 1,
    Qos2AsPublished = AS_PUBLISHED | 2,
    Qos0NoLocalAsPublished = NO_LOCAL | AS_PUBLISHED,
    Qos1NoLocalAsPublished = NO_LOCAL | AS_PUBLISHED | 1,
    Qos2NoLocalAsPublished = NO_LOCAL | AS_PUBLISHED | 2,
    PersistentQos0 = PERSISTENT,
    PersistentQos1 = PERSISTENT | 1,
    PersistentQos2 = PERSISTENT | 2,
    PersistentQos0NoLocal = PERSISTENT | NO_LOCAL,
    PersistentQos1NoLocal = PERSISTENT | NO_LOCAL | 1,
    PersistentQos2NoLocal = PERSISTENT | NO_LOCAL | 2,
    PersistentQos0AsPublished = PERSISTENT | AS_PUBLISHED,
    PersistentQos1AsPublished = PERSISTENT | AS_PUBLISHED | 1,
    PersistentQos2AsPublished = PERSISTENT | AS_PUBLISHED | 2,
    PersistentQos0NoLocalAsPublished = PERSISTENT | NO_LOCAL | AS_PUBLISHED,
    PersistentQos1NoLocalAsPublished = PERSISTENT | NO_LOCAL | AS_PUBLISHED | 1,
    PersistentQos2NoLocalAsPublished = PERSISTENT | NO_LOCAL | AS_PUBLISHED | 2,
}

/// By their bits; QoS 3 does not exist.
const ALL: [Packed; 32] = [
    Packed::Qos0,
    Packed::Qos1,
    Packed::Qos2,
    Packed::Qos2,
    Packed::Qos0NoLocal,
    Packed::Qos1NoLocal,
    Packed::Qos2NoLocal,
    Packed::Qos2NoLocal,
    Packed::Qos0AsPublished,
    Packed::Qos1AsPublished,
    Packed::Qos2AsPublished,
    Packed::Qos2AsPublished,
    Packed::Qos0NoLocalAsPublished,
    Packed::Qos1NoLocalAsPublished,
    Packed::Qos2NoLocalAsPublished,
    Packed::Qos2NoLocalAsPublished,
    Packed::PersistentQos0,
    Packed::PersistentQos1,
    Packed::PersistentQos2,
    Packed::PersistentQos2,
    Packed::PersistentQos0NoLocal,
    Packed::PersistentQos1NoLocal,
    Packed::PersistentQos2NoLocal,
    Packed::PersistentQos2NoLocal,
    Packed::PersistentQos0AsPublished,
    Packed::PersistentQos1AsPublished,
    Packed::PersistentQos2AsPublished,
    Packed::PersistentQos2AsPublished,
    Packed::PersistentQos0NoLocalAsPublished,
    Packed::PersistentQos1NoLocalAsPublished,
    Packed::PersistentQos2NoLocalAsPublished,
    Packed::PersistentQos2NoLocalAsPublished,
];

const QOS: u8 = 0b0011;
const NO_LOCAL: u8 = 0b0100;
const AS_PUBLISHED: u8 = 0b1000;
const PERSISTENT: u8 = 0b1_0000;

const _: () = assert!(size_of::<SessionRef>() == 8 && size_of::<SubscriptionOptions>() == 1);
const _: () = assert!(size_of::<Target>() == 16 && size_of::<Option<Target>>() == 16);
