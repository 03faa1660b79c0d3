//! The form in which a publication is written for a member. The model only tells forms apart.

/// One way in which a publication is written for the wire. The dialects say what each looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Shape(pub(crate) u8);

/// The place of a member in a chain of publications, each of which may be told by its difference
/// from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Chain {
    /// It takes whole publications only.
    #[default]
    Off,
    /// It takes patches, and has not heard the newest publication: the next one is told whole.
    Fresh,
    /// It takes patches, and has heard the newest publication.
    Linked,
    /// It takes patches and is told each publication whole, as it may lose some of them.
    Whole,
}

impl Chain {
    /// The place of a member that hears the next publication, or will for certain.
    pub(crate) fn heard(self) -> Self {
        if self == Self::Fresh { Self::Linked } else { self }
    }

    /// The place of a member that does not hear the next publication.
    pub(crate) fn lost(self) -> Self {
        if self == Self::Linked { Self::Fresh } else { self }
    }
}

/// The form in which a member of a channel is told publications: the shape of its client, and its
/// place in the chain of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Form {
    pub(crate) shape: Shape,
    pub(crate) chain: Chain,
}

impl Form {
    /// The form of a member that has not heard anything yet.
    pub(crate) fn first(shape: Shape, takes_patches: bool) -> Self {
        Self { shape, chain: if takes_patches { Chain::Fresh } else { Chain::Off } }
    }

    pub(crate) fn takes_patches(self) -> bool {
        self.chain != Chain::Off
    }

    /// The same shape at another place in the chain.
    pub(crate) fn at(self, chain: Chain) -> Self {
        Self { chain, ..self }
    }
}
