//! Tiers, SKUs and storage sizes: static tables, from the original's current list (v5 family).

use serde::{Deserialize, Serialize};

/// Class of compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tier {
    Burstable,
    GeneralPurpose,
    MemoryOptimized,
}

impl Tier {
    pub const ALL: [Tier; 3] = [Tier::Burstable, Tier::GeneralPurpose, Tier::MemoryOptimized];

    /// Word in URLs, forms and the store.
    pub fn key(self) -> &'static str {
        match self {
            Tier::Burstable => "Burstable",
            Tier::GeneralPurpose => "GeneralPurpose",
            Tier::MemoryOptimized => "MemoryOptimized",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.key() == text)
    }

    /// Words for people.
    pub fn label(self) -> &'static str {
        match self {
            Tier::Burstable => "Burstable",
            Tier::GeneralPurpose => "General Purpose",
            Tier::MemoryOptimized => "Memory Optimized",
        }
    }

    /// One sentence that helps to choose.
    pub fn purpose(self) -> &'static str {
        match self {
            Tier::Burstable => {
                "Development, tests and small sites that need the full CPU now and then."
            }
            Tier::GeneralPurpose => {
                "Most production work: balanced CPU and memory, 4 GiB per vCore."
            }
            Tier::MemoryOptimized => {
                "Large caches, analytics, many connections: about 8 GiB per vCore."
            }
        }
    }

    pub fn skus(self) -> impl Iterator<Item = &'static Sku> {
        SKUS.iter().filter(move |sku| sku.tier == self)
    }
}

/// A size within a tier.
#[derive(Debug, PartialEq)]
pub struct Sku {
    pub tier: Tier,
    /// Name as in the original's API.
    pub name: &'static str,
    pub vcores: u32,
    pub memory_gib: u32,
    /// Input and output operations per second, at most.
    pub iops_max: u32,
    /// Default of `max_connections`, computed from memory when the server is created.
    pub max_connections: u32,
}

impl Sku {
    pub fn by_name(name: &str) -> Option<&'static Sku> {
        SKUS.iter().find(|sku| sku.name == name)
    }

    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.memory_gib) << 30
    }

    /// Name without the prefix, for cards and lists.
    pub fn short_name(&self) -> &'static str {
        self.name.strip_prefix("Standard_").unwrap_or(self.name)
    }

    /// Operations per second a server gets: the smaller of what compute and storage give.
    pub fn effective_iops(&self, storage: &StorageSize) -> u32 {
        self.iops_max.min(storage.iops_burst)
    }
}

/// Connections out of `max_connections` kept for the service itself.
pub const RESERVED_CONNECTIONS: u32 = 15;

macro_rules! skus {
    ($($tier:ident $name:literal $vcores:literal $memory:literal $iops:literal $connections:literal;)*) => {
        &[$(Sku { tier: Tier::$tier, name: concat!("Standard_", $name), vcores: $vcores, memory_gib: $memory,
                  iops_max: $iops, max_connections: $connections }),*]
    };
}

/// Every size, smallest first within its tier.
pub static SKUS: &[Sku] = skus! {
    Burstable "B1ms" 1 2 640 50;
    Burstable "B2s" 2 4 1280 429;
    Burstable "B2ms" 2 8 1920 859;
    Burstable "B4ms" 4 16 2880 1718;
    Burstable "B8ms" 8 32 4320 3437;
    Burstable "B12ms" 12 48 4320 5000;
    Burstable "B16ms" 16 64 4320 5000;
    Burstable "B20ms" 20 80 4320 5000;
    GeneralPurpose "D2ds_v5" 2 8 3750 859;
    GeneralPurpose "D4ds_v5" 4 16 6400 1718;
    GeneralPurpose "D8ds_v5" 8 32 12800 3437;
    GeneralPurpose "D16ds_v5" 16 64 25600 5000;
    GeneralPurpose "D32ds_v5" 32 128 51200 5000;
    GeneralPurpose "D48ds_v5" 48 192 76800 5000;
    GeneralPurpose "D64ds_v5" 64 256 80000 5000;
    GeneralPurpose "D96ds_v5" 96 384 80000 5000;
    MemoryOptimized "E2ds_v5" 2 16 3750 1718;
    MemoryOptimized "E4ds_v5" 4 32 6400 3437;
    MemoryOptimized "E8ds_v5" 8 64 12800 5000;
    MemoryOptimized "E16ds_v5" 16 128 25600 5000;
    MemoryOptimized "E20ds_v5" 20 160 32000 5000;
    MemoryOptimized "E32ds_v5" 32 256 51200 5000;
    MemoryOptimized "E48ds_v5" 48 384 76800 5000;
    MemoryOptimized "E64ds_v5" 64 512 80000 5000;
    MemoryOptimized "E96ds_v5" 96 672 80000 5000;
};

/// A standard storage size.
#[derive(Debug, PartialEq)]
pub struct StorageSize {
    pub gib: u32,
    /// Provisioned operations per second.
    pub iops: u32,
    /// Operations per second in a burst; equals `iops` where there is none.
    pub iops_burst: u32,
}

/// Every storage size, smallest first.
pub static STORAGE_SIZES: &[StorageSize] = &[
    StorageSize { gib: 32, iops: 120, iops_burst: 3500 },
    StorageSize { gib: 64, iops: 240, iops_burst: 3500 },
    StorageSize { gib: 128, iops: 500, iops_burst: 3500 },
    StorageSize { gib: 256, iops: 1100, iops_burst: 3500 },
    StorageSize { gib: 512, iops: 2300, iops_burst: 3500 },
    StorageSize { gib: 1024, iops: 5000, iops_burst: 5000 },
    StorageSize { gib: 2048, iops: 7500, iops_burst: 7500 },
    StorageSize { gib: 4096, iops: 7500, iops_burst: 7500 },
    StorageSize { gib: 8192, iops: 16000, iops_burst: 16000 },
    StorageSize { gib: 16384, iops: 18000, iops_burst: 18000 },
    StorageSize { gib: 32768, iops: 20000, iops_burst: 20000 },
];

impl StorageSize {
    pub fn by_gib(gib: u32) -> Option<&'static StorageSize> {
        STORAGE_SIZES.iter().find(|size| size.gib == gib)
    }

    pub fn bytes(&self) -> u64 {
        u64::from(self.gib) << 30
    }

    /// Text such as "128 GiB" or "4 TiB".
    pub fn label(&self) -> String {
        if self.gib >= 1024 {
            format!("{} TiB", self.gib / 1024)
        } else {
            format!("{} GiB", self.gib)
        }
    }
}

/// A preset fills in values and decides nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Development,
    Production,
}

impl Preset {
    pub const ALL: [Preset; 2] = [Preset::Development, Preset::Production];

    pub fn key(self) -> &'static str {
        match self {
            Preset::Development => "development",
            Preset::Production => "production",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.key() == text)
    }

    /// SKU name and storage in GiB that the preset fills in.
    pub fn values(self) -> (&'static str, u32) {
        match self {
            Preset::Development => ("Standard_B1ms", 32),
            Preset::Production => ("Standard_D2ds_v5", 128),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_names_unique() {
        for tier in Tier::ALL {
            let cores: Vec<_> = tier.skus().map(|sku| (sku.vcores, sku.memory_gib)).collect();
            assert!(cores.is_sorted(), "{tier:?}");
        }
        let names: std::collections::HashSet<_> = SKUS.iter().map(|sku| sku.name).collect();
        assert_eq!(names.len(), SKUS.len());
        assert!(STORAGE_SIZES.is_sorted_by_key(|size| size.gib));
    }

    #[test]
    fn presets_name_real_sizes() {
        for preset in Preset::ALL {
            let (sku, gib) = preset.values();
            assert!(Sku::by_name(sku).is_some() && StorageSize::by_gib(gib).is_some());
        }
    }
}
