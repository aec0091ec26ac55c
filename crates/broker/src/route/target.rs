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
    /// The address as one number, for hashing.
    pub(super) fn bits(self) -> u64 {
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
        Self(match (qos, no_local, retain_as_published) {
            (0, false, false) => Packed::Qos0,
            (1, false, false) => Packed::Qos1,
            (_, false, false) => Packed::Qos2,
            (0, true, false) => Packed::Qos0NoLocal,
            (1, true, false) => Packed::Qos1NoLocal,
            (_, true, false) => Packed::Qos2NoLocal,
            (0, false, true) => Packed::Qos0AsPublished,
            (1, false, true) => Packed::Qos1AsPublished,
            (_, false, true) => Packed::Qos2AsPublished,
            (0, true, true) => Packed::Qos0NoLocalAsPublished,
            (1, true, true) => Packed::Qos1NoLocalAsPublished,
            (_, true, true) => Packed::Qos2NoLocalAsPublished,
        })
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
    Qos0NoLocalAsPublished = AS_PUBLISHED | NO_LOCAL,
    Qos1NoLocalAsPublished = AS_PUBLISHED | NO_LOCAL | 1,
    Qos2NoLocalAsPublished = AS_PUBLISHED | NO_LOCAL | 2,
}

const QOS: u8 = 0b0011;
const NO_LOCAL: u8 = 0b0100;
const AS_PUBLISHED: u8 = 0b1000;

const _: () = assert!(size_of::<SessionRef>() == 8 && size_of::<SubscriptionOptions>() == 1);
const _: () = assert!(size_of::<Target>() == 16 && size_of::<Option<Target>>() == 16);
